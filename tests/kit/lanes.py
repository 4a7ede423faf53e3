"""Running a test over both lanes: `pytestmark = pytest.mark.usefixtures("lane")`."""

from __future__ import annotations

import pytest

from server.express_lane import Handle
from server.reference_lane import ReferenceLane


@pytest.fixture(params=["express", "reference"])
def lane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The lane that programs of this test serve relayed endpoints by (as `server.express` does)."""

    def reference_alone(_: Handle, reference: ReferenceLane, __: object) -> ReferenceLane:
        return reference

    name: str = request.param
    if name == "reference":
        monkeypatch.setattr("supervisor.program.ExpressLane", reference_alone)
    return name
