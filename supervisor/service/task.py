"""A task for Windows' Task Scheduler, to be imported by hand. Never run: Windows is untested."""

from __future__ import annotations

import subprocess
from xml.sax.saxutils import escape

from supervisor.service.description import Description

_TASK = """\
<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>llm-supervisor</Description></RegistrationInfo>
  <Triggers><LogonTrigger><Enabled>true</Enabled></LogonTrigger></Triggers>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure><Interval>PT1M</Interval><Count>5</Count></RestartOnFailure>
  </Settings>
  <Actions><Exec>
    <Command>{command}</Command>
    <Arguments>{arguments}</Arguments>
  </Exec></Actions>
</Task>
"""


def task(service: Description) -> str:
    """XML for `schtasks /Create /XML`. The environment is the one of the user who logs on."""
    first, *rest = (*service.command, *service.run)
    return _TASK.format(command=escape(first), arguments=escape(subprocess.list2cmdline(rest)))
