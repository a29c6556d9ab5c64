"""Makes the stubs from ../../proto when the package is built or installed."""

import os
import sysconfig
from importlib.resources import files
from pathlib import Path
from typing import Any

from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).parent
PROTO = HERE.parent.parent / "proto"


class GenerateStubs(BuildHookInterface[Any]):
    """What hatchling calls before it builds."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Runs protoc: messages, their types, the stubs of services, and the types of those."""
        out = HERE / "src"
        arguments = [
            "protoc",
            f"--proto_path={PROTO}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            f"--mypy_out={out}",
            f"--mypy_grpc_out={out}",
            *(str(file) for file in sorted(PROTO.rglob("*.proto"))),
        ]
        # The plugins are beside the interpreter, and that need not be on the path.
        os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
        if protoc.main(arguments) != 0:
            raise RuntimeError("protoc failed; its message stands above")
