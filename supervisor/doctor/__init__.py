"""`supervisor doctor`: what is wrong, each with its fix. Facts are gathered first; checks are pure."""
