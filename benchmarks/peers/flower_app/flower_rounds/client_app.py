"""A client that returns the params plus a constant, as `PlusConstant` of clients.py does."""

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    params = {name: array.numpy() for name, array in message.content["arrays"].items()}
    step = float(context.run_config["step"])
    updated = {name: Array(array + array.dtype.type(step)) for name, array in params.items()}
    content = {
        "arrays": ArrayRecord(array_dict=updated),
        "metrics": MetricRecord({"num-examples": 100 + int(context.node_config["ordinal"]), "loss": 1.0}),
    }
    return Message(content=RecordDict(content), reply_to=message)
