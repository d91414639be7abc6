"""Settings, artifacts and times."""

from dataclasses import replace

from scf_pipeline.report.colophon import colophon


def test_settings_of_the_full_model_are_shown_for_each_world(material, judged) -> None:
    told = colophon(material(judged))
    assert told.count("Settings of the full model, protocol2 hard, seed 0") == 1
    assert told.count("Settings of the full model, protocol1 easy, seed 0") == 1
    assert "&quot;alpha&quot;: 0.7" in told


def test_every_artifact_has_its_fingerprint(material, judged, curated) -> None:
    told = colophon(material(judged, curated))
    for one in curated:
        assert f"<code>{one.fingerprint[:16]}</code>" in told
    assert f"{len(judged) + len(curated)} artifacts" in told
    assert f"{len(judged)} trained models" in told


def test_times_are_summed_by_stage(material, judged) -> None:
    told = colophon(material(judged[:4]))
    assert "<td>4</td><td>122 s</td>" in told or "<td>4</td><td>2.0 min</td>" in told


def test_what_is_absent_is_said(material, judged) -> None:
    told = colophon(material())
    for words in ("not run", "No model was trained", "no artifacts", "No manifest notes"):
        assert words in told
    bare = replace(judged[0], training={})
    assert "&ndash;" in colophon(material([bare]))


def test_settings_are_escaped(material, judged, results_of) -> None:
    evil = results_of(settings={"<script>": "</pre><script>"})
    assert "<script" not in colophon(material([replace(judged[0], results=[evil])]))
