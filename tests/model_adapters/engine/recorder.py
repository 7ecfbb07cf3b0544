"""A recorder of device work that runs without a GPU."""

from model_adapters.engine.forward.decode_graph import Work


class Repeater:
    """Records by storing the work, and counts the requests."""

    def __init__(self) -> None:
        self.runs = self.replays = 0
        self.recorded: list[Work] = []

    def run(self, work: Work) -> None:
        self.runs += 1
        work()

    def record(self, work: Work) -> Work:
        self.recorded.append(work)

        def replay() -> None:
            self.replays += 1
            work()

        return replay


class Refuser(Repeater):
    def record(self, work: Work) -> Work:
        raise RuntimeError("operation not permitted when stream is capturing\nmore of it")
