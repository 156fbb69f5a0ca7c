"""The command, called and listened to."""

from pipelines.cli import main


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = main([str(a) for a in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def mistake(capsys, *arguments) -> str:
    """Run a command that must fail with one line and 2."""
    code, _, err = run(capsys, *arguments)
    lines = [line for line in err.strip().splitlines() if line.startswith("emoaug:")]
    assert code == 2
    assert len(lines) == 1
    assert "Traceback" not in err
    return lines[0]
