import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Two threads wait for each other where the machine is busy, and give other last bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def onednn_in_bfloat16():
    """Pass over a test of screening where oneDNN cannot multiply bfloat16."""
    import torch

    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("oneDNN needs a processor with AVX-512 for bfloat16")
