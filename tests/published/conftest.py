import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Two threads wait for each other where the machine is busy, and give other last bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
