"""Model files as arrays. Reading one can describe arrays and nothing else; no byte of it is ever executed.

`safetensors` reads and writes the native format, `chunks` walks through the numbers of many files in small pieces,
`errors` says what can be wrong with a file. The `code` of an error is the one of the wire.
"""
