"""One-line checks of the tensors that every form of the gated delta rule takes."""

import torch


def check_arguments(
    q_BTHK: torch.Tensor,
    k_BTHK: torch.Tensor,
    v_BTHV: torch.Tensor,
    log_decay_BTH: torch.Tensor,
    beta_BTH: torch.Tensor,
    state_BHKV: torch.Tensor | None,
) -> None:
    """Raise ValueError, naming the tensor, its shape and the one expected, when arguments do not fit together."""
    if q_BTHK.dim() != 4 or v_BTHV.dim() != 4:
        raise ValueError(f"q {tuple(q_BTHK.shape)} and v {tuple(v_BTHV.shape)} must be [B, T, heads, size]")
    sequences, tokens, key_heads, key_size = q_BTHK.shape
    value_heads, value_size = v_BTHV.shape[2:]
    if tokens == 0:
        raise ValueError("q has no tokens; the gated delta rule needs at least one")
    if key_heads == 0 or value_heads % key_heads:
        raise ValueError(f"{value_heads} value heads must be a multiple of the {key_heads} key heads")
    expected: list[tuple[str, torch.Tensor, tuple[int, ...]]] = [
        ("k", k_BTHK, (sequences, tokens, key_heads, key_size)),
        ("v", v_BTHV, (sequences, tokens, value_heads, value_size)),
        ("log_decay", log_decay_BTH, (sequences, tokens, value_heads)),
        ("beta", beta_BTH, (sequences, tokens, value_heads)),
    ]
    if state_BHKV is not None:
        expected.append(("state", state_BHKV, (sequences, value_heads, key_size, value_size)))
    for name, tensor, shape in expected:
        check_tensor(name, tensor, shape=shape, device=q_BTHK.device)


def check_tensor(name: str, tensor: torch.Tensor, *, shape: tuple[int, ...], device: torch.device) -> None:
    """Raise ValueError unless the tensor has this shape and lies on this device."""
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; {shape} is needed beside the other tensors")
    if tensor.device != device:
        raise ValueError(f"{name} is on {tensor.device}, q on {device}; move them to one device")
