"""The client SDK: take part in trainings (`Client`, `Trainer`) and ask the server for things (`Api`)."""
