"""The mediator's role: results of other people's deals are judged by computing their jobs again."""
