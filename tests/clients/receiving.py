"""What the Service Bus scripts do with any receiver."""

WAIT = 20  # seconds; an answer comes at once, or something is broken


def take(receiver, count=1):
    taken = []
    while len(taken) < count:
        some = receiver.receive_messages(max_message_count=count - len(taken), max_wait_time=WAIT)
        assert some, f"nothing came after {[str(m) for m in taken]}"
        taken += some
    return taken
