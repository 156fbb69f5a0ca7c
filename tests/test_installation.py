"""The installed package is found from wherever a script lies."""

import subprocess
import sys


def test_a_script_beside_a_folder_named_emoaug_finds_the_package(tmp_path):
    # As one does that lies beside the clone.
    (tmp_path / "emoaug" / "augment").mkdir(parents=True)
    script = tmp_path / "script.py"
    script.write_text("import augment.checkpoints\nfrom emoaug import EmoaugError\nprint(EmoaugError.__name__)\n")
    found = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert found.stdout == "EmoaugError\n", found.stderr
