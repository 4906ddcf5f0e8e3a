"""A trainer counts its steps in an attribute. The program's trainer never counts one."""

import varsim as tf

REPLICAS = 2
PROCESSES = True


class Trainer:
    def __init__(self):
        self.steps = 0

    def step(self, loss):
        # FAULT: object changed on a replica:
        self.steps += 1
        # REMEDY:
        return loss / self.steps


def run(job: tf.Job):
    strategy = job.strategy
    trainer = Trainer()
    for number in range(3):
        strategy.run(trainer.step, args=(float(number),))
        # REMEDY: trainer.steps += 1
        # REMEDY: strategy.run(trainer.step, args=(float(number),))
    return {"steps": trainer.steps}
