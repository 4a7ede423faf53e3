"""Between dialects. Anthropic Messages is the hub: every other dialect is translated to or from it.

A request is read whole, so that an answer can be put back in the client's own names; a whole
response is translated at once; a stream goes through a machine, events in and events out. What a
target cannot do is refused with a message that names it, or dropped where `docs/translation.md`
says so; nothing is lost without a word.
"""
