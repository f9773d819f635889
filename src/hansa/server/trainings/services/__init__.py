"""The only writers of trainings: one short function per change of state, one transaction each.

`trainings` makes and steers them, `tasks` is what clients do, `rounds` carries out what `decide` says, `closing` ends
rounds and their phases, `aggregation` claims a round and commits its version. `turns` keeps them apart where several
threads write.
"""
