"""The only writers of trainings: one short function per change of state, one transaction each.

`trainings` makes and steers them, `leasing` gives clients their tasks and `tasks` takes what comes of them, `rounds`
carries out what `decide` says, `closing` ends rounds and their phases, `folding` counts late updates, `aggregation`
claims a round and commits its version. `turns` keeps them apart where several threads write. What happens, each of them
notes in the `eventlog`; what clients are refused, `rejections` does.
"""
