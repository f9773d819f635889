"""Torch's files read inertly: what they describe is learned, nothing in them is imported, called or executed.

A torch file is a zip archive of stored `data/*` entries (the storages: plain bytes) and a pickle that describes the
tensors over them. The way through the modules:

    zipdirectory   bytes → entries            machine, placeholders   pickle → inert values
    entries        an entry's bytes, bounded  tensors                 values → described tensors
    budget         how much of it is looked at
    scriptcode     code/*.py → declarations   modules, scripts        values → a tree of modules (`tree`)
    strided        arrays through strides     layers                  tree → what a summary shows
    sums           checksums of storages      torchfile               all of it behind `modelfile.ModelFile`
    rendering      the same archive with other numbers                tensorfile  one saved tensor
"""
