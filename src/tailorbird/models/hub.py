"""Reachability of the model hub."""


def hub_reachable() -> str:
    """Return why the model hub is unreachable; empty if it is reachable."""
    import socket
    from urllib.parse import urlsplit

    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    host = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection((host.hostname, host.port or 443), timeout=10).close()
    except OSError as error:
        return f"{host.hostname}: {error}"
    return ""
