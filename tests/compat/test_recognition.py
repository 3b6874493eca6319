"""What a checkpoint is follows from its keys and shapes; what does not fit is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from error_codes import raises_code
from published import NAMES, PUBLISHED, load_golden, shapes_of, source_of

from mvector.compat import SOURCES, convert
from mvector.compat.exporting import options_in_full
from mvector.errors import CheckpointError
from mvector.models import build_backbone


def test_all_published_models_are_there() -> None:
    assert sorted(PUBLISHED) == NAMES


@pytest.mark.parametrize("name", PUBLISHED)
def test_arguments_of_the_constructor_follow_from_the_shapes(name: str) -> None:
    backbone, options = PUBLISHED[name]
    published = load_golden(name)
    model_config = published.get("model_config")
    conversion = convert(shapes_of(name), source_of(name), model_config=model_config)
    architecture = conversion.architecture
    assert architecture.backbone == backbone
    assert architecture.feature_dim == published["inputs"][0]["shape"][2]
    read = options_in_full(backbone, architecture.options)
    assert read == options_in_full(backbone, options)
    published = published["constructor"]
    assert read["embd_dim"] == published["embedding"]
    for key in ("base_width", "scale", "two_embedding_layers", "res2net_scale", "se_channels"):
        if key in published:
            assert read[key] == published[key]


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_entry_may_be_missing(name: str) -> None:
    state = shapes_of(name)
    dropped = convert(state, source_of(name)).dropped
    keys = [key for key in state if key not in dropped]
    for key in (keys[0], keys[len(keys) // 2], keys[-1]):
        incomplete = {other: value for other, value in state.items() if other != key}
        with pytest.raises(CheckpointError):
            convert(incomplete, source_of(name))


@pytest.mark.parametrize("name", ["wespeaker_ResNet34", "3dspeaker_CAMPPlus_192", "mvector1_TDNN"])
def test_a_missing_entry_is_named(name: str) -> None:
    state = shapes_of(name)
    key = [key for key in state if key.endswith("running_mean")][3]
    del state[key]
    with pytest.raises(CheckpointError, match=f"lacks the entries {key.removeprefix('0.')}"):
        convert(state, source_of(name))


def test_a_missing_head_of_a_pooling_is_named_by_its_published_name() -> None:
    state = shapes_of("wespeaker_ResNet34_MQMHASTP")
    del state["pool.n_query.1.heads_att_trans.5.att_1.bias"]
    lacks = r"lacks the entries pool\.n_query\.1\.heads_att_trans\.5\.att_1\.bias;"
    with pytest.raises(CheckpointError, match=lacks):
        convert(state, "wespeaker")


def test_other_numbers_of_heads_are_refused() -> None:
    state = shapes_of("wespeaker_ResNet34_MQMHASTP")
    more = {key.replace(".7.", ".8."): value for key, value in state.items() if "trans.7" in key}
    with pytest.raises(CheckpointError, match=r"unexpected entries pool\.n_query\.0"):
        convert({**state, **more}, "wespeaker")


def test_an_entry_left_over_is_named() -> None:
    state = shapes_of("wespeaker_ResNet34")
    state["layer5.0.conv1.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"unexpected entries layer5\.0\.conv1\.weight"):
        convert(state, "wespeaker")


def test_a_misshapen_entry_is_named_with_both_shapes() -> None:
    state = shapes_of("wespeaker_ResNet34")
    state["layer2.1.bn2.bias"] = torch.zeros(63)
    expected = r"layer2\.1\.bn2\.bias has shape \(63,\) where \(64,\) was expected"
    with pytest.raises(CheckpointError, match=expected):
        convert(state, "wespeaker")


def test_quantised_weights_are_refused() -> None:
    state = shapes_of("wespeaker_ResNet34")
    state["conv1.weight"] = state["conv1.weight"].to(torch.int8)
    with pytest.raises(CheckpointError, match=r"conv1\.weight is torch\.int8"):
        convert(state, "wespeaker")


def test_step_counters_become_integers_and_are_listed() -> None:
    state = shapes_of("wespeaker_XVEC")
    counters = [key for key in state if key.endswith("num_batches_tracked")]
    state.update({key: torch.tensor(12.5) for key in counters})
    conversion = convert(state, "wespeaker")
    assert list(conversion.made_integers) == counters
    assert conversion.weights["frame_layers.0.norm.num_batches_tracked"].dtype == torch.int64
    assert convert(shapes_of("wespeaker_XVEC"), "wespeaker").made_integers == ()


@pytest.mark.parametrize(
    ("name", "candidates"),
    [
        ("wespeaker_ResNet34", "wespeaker or 3dspeaker"),
        ("wespeaker_CAMPPlus_512", "wespeaker or 3dspeaker or mvector"),
        ("speechbrain_ECAPA_TDNN_c1024", "3dspeaker or speechbrain or mvector"),
        ("3dspeaker_ERes2Net_base_192", "3dspeaker or mvector"),
    ],
)
def test_an_ambiguous_source_is_never_guessed(name: str, candidates: str) -> None:
    with pytest.raises(CheckpointError, match=f"may come from {candidates}, which compute"):
        convert(shapes_of(name), None)


@pytest.mark.parametrize(
    "name",
    [
        "wespeaker_ECAPA_TDNN_GLOB_c512",
        "wespeaker_ERes2Net34_Base",
        "wespeaker_XVEC",
        "3dspeaker_Xvector",
        "mvector1_TDNN",
        "mvector1_CAMPPlus",
    ],
)
def test_an_unambiguous_source_need_not_be_said(name: str) -> None:
    assert convert(shapes_of(name), None).source == source_of(name)


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("wespeaker_ECAPA_TDNN_GLOB_c512", "speechbrain", "wespeaker"),
        ("speechbrain_ECAPA_TDNN_c1024", "wespeaker", "3dspeaker or speechbrain or mvector"),
        ("mvector1_CAMPPlus", "3dspeaker", "mvector"),
        ("3dspeaker_ERes2Net_base_192", "wespeaker", "3dspeaker or mvector"),
    ],
)
def test_a_wrong_source_is_refused_with_the_right_one(name: str, wrong: str, right: str) -> None:
    with pytest.raises(CheckpointError, match=f"the source may be {right}"):
        convert(shapes_of(name), wrong)


@pytest.mark.parametrize(
    ("keys", "family"),
    [
        (["frame_1.conv_1d.weight", "pool.prior_mean", "seg_1.weight"], "xi-vector"),
        (["stage0.rbr_dense.conv.weight", "seg_1.weight"], "RepVGG"),
    ],
)
def test_families_without_a_backbone_are_refused_by_name(keys: list[str], family: str) -> None:
    state = {key: torch.zeros(1) for key in keys}
    with pytest.raises(CheckpointError, match=f"looks like {family}, for which .* no backbone"):
        convert(state, None)


def test_what_is_of_no_family_is_refused_with_its_first_entries() -> None:
    with pytest.raises(CheckpointError, match=r"no known family; .* fc\.weight"):
        convert({"fc.weight": torch.zeros(2, 2)}, "wespeaker")
    with pytest.raises(CheckpointError, match="no source 'kaldi'"):
        convert({"fc.weight": torch.zeros(2, 2)}, "kaldi")


def test_bins_that_contradict_the_shapes_are_refused() -> None:
    with pytest.raises(CheckpointError, match="for 80 bins, not 64"):
        convert(shapes_of("wespeaker_ResNet34"), "wespeaker", feature_dim=64)


def test_bins_that_the_shapes_leave_open_are_assumed_and_said_so() -> None:
    state = shapes_of("mvector1_Res2Net")
    open_bins = convert(state, "mvector").architecture
    assert (open_bins.feature_dim, open_bins.assumed) == (
        80,
        ("80 bins, which the shapes do not tell; give feature_dim if there are others",),
    )
    told = convert(state, "mvector", feature_dim=64).architecture
    assert (told.feature_dim, told.assumed) == (64, ())
    with raises_code("checkpoint-mismatch"):
        convert(state, "mvector", feature_dim=40)


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod.", "resnet."])
def test_prefixes_of_wrappers_are_taken_off(wrapper: str) -> None:
    state = {f"{wrapper}{key}": value for key, value in shapes_of("wespeaker_ResNet34").items()}
    assert convert(state, "wespeaker").architecture.options["depth"] == 34
    state[f"{wrapper}projection.weight"] = torch.zeros(3, 256)
    assert convert(state, "wespeaker").dropped == ("projection.weight",)


@pytest.mark.parametrize("wrapper", ["", "_orig_mod.", "module."])
def test_the_classifier_of_mvector_1_is_dropped_by_name(wrapper: str) -> None:
    state = shapes_of("mvector1_TDNN")
    state["1.blocks.0.linear.weight"] = state["1.output.weight"] = torch.zeros(2)
    state = {f"{wrapper}{key}": value for key, value in state.items()}
    dropped = convert(state, "mvector").dropped
    assert dropped == ("1.weight", "1.blocks.0.linear.weight", "1.output.weight")
    alone = {
        key.split("0.", 1)[1]: value
        for key, value in shapes_of("mvector1_TDNN").items()
        if key.startswith("0.")
    }
    assert convert(alone, "mvector").dropped == ()


@pytest.mark.parametrize(
    ("family", "backbone", "pooling", "options", "bins"),
    [
        ("mvector 1.x's TDNN", "TDNN", "SAP", {"channels": 16}, 40),
        ("mvector 1.x's TDNN", "TDNN", "TAP", {"channels": 16}, 40),
        ("mvector 1.x's TDNN", "TDNN", "TSP", {"channels": 16}, 40),
        ("ECAPA-TDNN", "EcapaTdnn", "SAP", {"channels": 16, "layout": "speechbrain"}, 40),
        ("ECAPA-TDNN", "EcapaTdnn", "TSP", {"channels": 16, "layout": "speechbrain"}, 40),
        ("mvector 1.x's ResNetSE", "ResNetSE", "SAP", {"channels": 8}, 40),
        ("mvector 1.x's ResNetSE", "ResNetSE", "TAP", {"channels": 8}, 40),
        ("mvector 1.x's Res2Net", "Res2Net", "TSP", {"channels": 8, "scale": 3}, 80),
    ],
)
def test_other_poolings_of_mvector_1(
    family: str, backbone: str, pooling: str, options: dict[str, Any], bins: int
) -> None:
    options = {**options, "pooling_type": pooling}
    model = build_backbone(backbone, bins, **options)
    published = SOURCES["mvector"].families[family]
    names = published.table_for(options).published(model.state_dict())
    state = {theirs: model.state_dict()[ours] for ours, (theirs, _) in names.items()}
    if backbone == "EcapaTdnn":
        assert {"asp_bn.weight", "fc.conv.weight"} < set(state)
    if pooling == "SAP":
        assert {key for key in state if "linear2" in key} >= {
            f"{'asp' if backbone == 'EcapaTdnn' else 'pooling'}.linear2.weight"
        }
    architecture = convert(state, "mvector", feature_dim=bins).architecture
    assert architecture.options["pooling_type"] == pooling
    assert architecture.feature_dim == bins
    given = {key: architecture.options[key] for key in options if key != "channels"}
    assert given == {key: value for key, value in options.items() if key != "channels"}
