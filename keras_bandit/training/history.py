"""One row per epoch, in a file that survives restarts."""

import csv
import io

import keras

from keras_bandit.common.files import write_text


def read_history(path):
    """Rows of a history file, `[{column: text}]`; none if there is no file."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class HistoryFile(keras.callbacks.Callback):
    """Writes the logs of each epoch to a CSV file.

    Unlike Keras's `CSVLogger`, each epoch has one row however often a run was
    interrupted, and the file is complete at any time.

    Args:
        path: of the file.
        start_epoch: int. Epoch at which training goes on; rows from there on
            are dropped, since they will be made again.
    """

    def __init__(self, path, start_epoch):
        super().__init__()
        self.path = path
        rows = read_history(path)
        self.rows = [row for row in rows if int(row["epoch"]) < start_epoch]

    def on_epoch_end(self, epoch, logs=None):
        logs = {name: float(value) for name, value in (logs or {}).items()}
        self.rows.append({"epoch": epoch, **logs})
        # Columns that appear late are empty in earlier rows.
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())
