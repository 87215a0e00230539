"""Web tests: the HTTP gateway and the ops page against real servers."""
