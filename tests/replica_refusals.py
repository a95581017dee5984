"""What is said to those who use several replicas the wrong way."""

import keras
import tensorflow as tf

import kd_keras
from tests import reference


def refusals(strategy):
    """What is said to those who build or feed the wrong way."""
    x, y, _ = reference.data(12)
    outside = reference.mlp(0)
    said = {}

    def expect(name, call):
        try:
            call()
            said[name] = "nothing"
        except ValueError as error:
            said[name] = str(error)

    with strategy.scope():
        inside = reference.mlp(0)
        distiller = reference.compiled(inside, reference.mlp(1))
        expect("student outside", lambda: kd_keras.Distiller(student=outside))
    expect("distiller outside", lambda: kd_keras.Distiller(student=inside))
    everything = reference.compiled(outside, reference.mlp(1))
    with strategy.scope():
        everything.compile("sgd", reference.from_logits())
    expect("optimizer inside", lambda: everything.fit(x, y, verbose=0))
    with strategy.scope():
        expect("all outside", lambda: everything.fit(x, y, verbose=0))
        expect("evaluated", lambda: everything.evaluate(x, y, verbose=0))
        expect("predicted", lambda: everything.predict(x, verbose=0))
        expect("on a batch", lambda: everything.train_on_batch(x, y))
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    distributed = strategy.experimental_distribute_dataset(dataset)
    expect("its data", lambda: everything.fit(distributed, verbose=0))
    strings = tf.data.Dataset.from_tensor_slices(
        ({"image": x, "id": ["name"] * 12}, y)
    ).batch(4)
    expect("strings", lambda: distiller.fit(strings, verbose=0))
    accumulating = keras.optimizers.SGD(gradient_accumulation_steps=2)
    distiller.compile(accumulating, reference.from_logits())
    expect("optimizer outside", lambda: distiller.fit(x, y, verbose=0))
    with strategy.scope():
        accumulating = keras.optimizers.SGD(gradient_accumulation_steps=2)
        distiller.compile(accumulating, reference.from_logits())
        expect("accumulated", lambda: distiller.fit(x, y, verbose=0))
        averaging = keras.optimizers.SGD(
            use_ema=True, ema_overwrite_frequency=2
        )
        distiller.compile(averaging, reference.from_logits())
    expect("averaged", lambda: distiller.fit(x, y, verbose=0))
    summed = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="sum"
    )
    with strategy.scope():
        distiller.compile("sgd", summed)
    expect("summed", lambda: distiller.fit(x, y, verbose=0))
    central = tf.distribute.experimental.CentralStorageStrategy(["CPU:0"])
    with central.scope():
        student = reference.mlp(0)
        expect("central", lambda: kd_keras.Distiller(student=student))
    with strategy.scope():
        distiller.compile("sgd", reference.from_logits(), jit_compile=True)
    expect("jit", lambda: distiller.fit(x, y, verbose=0))
    expect("jit evaluated", lambda: distiller.evaluate(x, y, verbose=0))
    return said
