"""What an operator has a device of a running VM do, by the command line."""

from __future__ import annotations

import signal
from pathlib import Path

from protocol.errors import ExitCode
from tests.integration.conftest import Lab
from tests.integration.machine import nothing_left, started, wait_for

VM = """
vcpus = 2
[[device]]
kind = "storvsc"
[[device]]
kind = "keyboard"
[[device]]
kind = "kvp"
[[device]]
kind = "framebuffer"
"""


def test_a_device_does_what_it_is_told_and_mistakes_are_one_line(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "vm.toml"
    file.write_text(VM)
    vm = lab("run", "--vm", file, "--duration", "0", "--name", "acts")
    started("acts")

    def told() -> str:
        return lab("act", "kvp", "enumerate").finished().out

    wait_for("the guest to negotiate", lambda: "OSName" in told())
    assert "'FullyQualifiedDomainName': 'guest.vmbus-lab'" in told()
    wait_for("the keyboard", lambda: lab("act", "keyboard", "press", "code=1").finished().code == 0)
    assert lab("act", "keyboard", "type_text", "text=Hello World").finished().out == ""
    answer = lab("act", "kvp", "get", "pool=2", "key=OSName").finished().out
    assert "{'OSName': 'vmbus-lab'}" in answer

    def mistake(*arguments: str) -> str:
        return lab("act", *arguments).finished().complained(ExitCode.OPERATOR)

    assert mistake("keyboard", "fly") == "'keyboard' cannot fly: it can type_text, press"
    assert mistake("keyboard", "press") == "press: missing a required argument: 'code'"
    assert mistake("keyboard", "press", "key=1") == "press: missing a required argument: 'code'"
    for word in ("machine", "verb", "process"):  # our own names for things
        assert mistake("keyboard", "press", f"{word}=1") == "press: missing a required argument: 'code'"
    assert mistake("keyboard", "press", "code=escape") == (
        "press: code: input should be a valid integer, unable to parse string as an integer"
    )
    assert mistake("keyboard", "type_text", "text=5") == "type_text: text: input should be a valid string"
    assert mistake("keyboard", "type_text", "text=1999-12-31").startswith("act: can not serialize 'datetime.date'")
    assert mistake("keyboard", "press", "code=99999999999999999999").startswith("act: Integer value out of range")
    assert mistake("keyboard", "type_text", "text=\udcff").startswith("act: 'utf-8' codec can't encode")
    assert mistake("keyboard", "type_text", "hello") == "hello: write it as KEY=VALUE"
    assert mistake("keyboard", "type_text", "text=ü") == "no key types 'ü': use what a US keyboard has"
    vm.send(signal.SIGTERM)
    assert vm.finished().code == ExitCode.TERMINATED
    nothing_left()
