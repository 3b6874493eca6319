"""The losses that keep a teacher's similarities or its embeddings, against loops."""

from __future__ import annotations

import math

import pytest
import torch

from mvector.losses.similarity import embedding_loss, similarity_loss


def cosine(first: list[float], second: list[float]) -> float:
    product = math.fsum(a * b for a, b in zip(first, second, strict=True))
    return product / math.hypot(*first) / math.hypot(*second)


def loop_over_pairs(student: torch.Tensor, teacher: torch.Tensor) -> float:
    ours, theirs = student.tolist(), teacher.tolist()
    squares = [
        (cosine(ours[i], ours[j]) - cosine(theirs[i], theirs[j])) ** 2
        for i in range(len(ours))
        for j in range(len(ours))
        if i != j
    ]
    return math.fsum(squares) / len(squares)


def both(batch: int = 7, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of a student and of a teacher, of unlike sizes."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        torch.randn(batch, size, generator=generator, dtype=torch.float64) for size in (6, 11)
    )
    return student.to(dtype), teacher.to(dtype)


@pytest.mark.parametrize("batch", [2, 3, 16])
def test_the_value_is_that_of_a_loop_over_pairs(batch: int) -> None:
    student, teacher = both(batch)
    expected = loop_over_pairs(student, teacher)
    assert similarity_loss(student, teacher).item() == pytest.approx(expected, rel=1e-12)
    assert expected > 0.01


def test_a_turned_and_scaled_copy_of_the_teacher_has_no_loss() -> None:
    _, teacher = both()
    turned, _ = torch.linalg.qr(torch.randn(11, 11, dtype=torch.float64))
    lengths = torch.linspace(0.1, 9.0, len(teacher), dtype=torch.float64).unsqueeze(1)
    assert similarity_loss(lengths * teacher @ turned, teacher).item() < 1e-28


def test_under_autocast_it_is_computed_in_float32() -> None:
    student, teacher = both(64, torch.float32)
    expected = similarity_loss(student, teacher)
    with torch.autocast("cpu", torch.bfloat16):
        assert similarity_loss(student, teacher) == expected
        half = similarity_loss(student.bfloat16(), teacher)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, rtol=0.01, atol=0)


def test_the_gradient_is_the_students_alone_and_right() -> None:
    student, teacher = (x.requires_grad_() for x in both())
    similarity_loss(student, teacher).backward()
    assert teacher.grad is None
    fixed = teacher.detach()
    assert torch.autograd.gradcheck(lambda x: similarity_loss(x, fixed), student)


def test_an_embedding_of_zero_has_a_finite_gradient() -> None:
    student, teacher = both()
    student[0] = 0.0
    similarity_loss(student.requires_grad_(), teacher).backward()
    assert torch.isfinite(student.grad).all()


def test_embeddings_are_held_to_the_directions_of_the_teacher_clip_by_clip() -> None:
    student, _ = both()
    teacher = student.flip(0)
    pairs = zip(student.tolist(), teacher.tolist(), strict=True)
    expected = 1.0 - math.fsum(cosine(*pair) for pair in pairs) / len(student)
    assert embedding_loss(student, teacher).item() == pytest.approx(expected, rel=1e-12)
    lengths = torch.linspace(0.1, 9.0, len(student), dtype=torch.float64).unsqueeze(1)
    assert abs(embedding_loss(lengths * student, student).item()) < 1e-12
    with torch.autocast("cpu", torch.bfloat16):
        assert embedding_loss(student.bfloat16(), teacher.float()).dtype == torch.float32


def test_a_clip_without_a_target_adds_nothing_and_the_others_count_as_before() -> None:
    student, teacher = both(7)
    teacher[[1, 4]] = 0.0
    known = [0, 2, 3, 5, 6]
    student.requires_grad_()
    similarity_loss(student, teacher).backward()
    expected = loop_over_pairs(student.detach()[known], teacher[known]) * (5 * 4) / (7 * 6)
    assert similarity_loss(student, teacher).item() == pytest.approx(expected, rel=1e-12)
    assert not student.grad[[1, 4]].any()
    student.grad = None
    of_known = embedding_loss(student[known], student.flip(0)[known]).item()
    targets = student.detach().flip(0)
    targets[[1, 4]] = 0.0
    embedding_loss(student, targets).backward()
    assert embedding_loss(student, targets).item() == pytest.approx(of_known * 5 / 7, rel=1e-12)
    assert not student.grad[[1, 4]].any()
    assert student.grad[[0, 6]].any()
    assert similarity_loss(student, torch.zeros_like(teacher)).item() == 0.0
