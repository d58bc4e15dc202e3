"""What runs before an upgrade: the preflight, and the migration where the database is there already."""

from __future__ import annotations

from render import Manifest, manifests, of_kind
from workloads import HOOK, SERVICES, component, is_early, pod_spec

EARLY = "pre-install,pre-upgrade"


def test_an_existing_database_is_migrated_before_anything_changes(production: list[Manifest]) -> None:
    [job] = migrations(production)

    annotations = job["metadata"]["annotations"]
    assert annotations[HOOK] == EARLY
    assert "hook-succeeded" in annotations["helm.sh/hook-delete-policy"]
    assert "hook-failed" in annotations["helm.sh/hook-output-log-policy"]


def test_a_bundled_database_is_migrated_by_an_ordinary_job(development: list[Manifest]) -> None:
    [job] = migrations(development)

    # A hook after the install would wait for pods that wait for it.
    assert "annotations" not in job["metadata"]
    assert "ttlSecondsAfterFinished" not in job["spec"]


def test_a_hook_that_failed_does_not_stay_for_good(production: list[Manifest]) -> None:
    for job in [*migrations(production), *preflights(production)]:
        assert job["spec"]["ttlSecondsAfterFinished"] == 3600


def test_the_ordinary_job_has_a_new_name_when_its_text_is_new() -> None:
    names = {
        migrations(manifests("development", "--set", f"image.tag={tag}"))[0]["metadata"]["name"]
        for tag in ("1.0.0", "1.0.0", "2.0.0")
    }

    assert len(names) == 2


def test_each_service_migrates_from_its_own_image(rendered: list[Manifest]) -> None:
    for job in migrations(rendered):
        images = {each["args"][0]: each["image"] for each in pod_spec(job)["containers"]}

        assert images.keys() == {f"flotilla_{service}.migrate" for service in SERVICES}
        assert all(f"/{module.split('.')[0].removeprefix('flotilla_')}" in image for module, image in images.items())


def test_every_colour_migrates_and_is_looked_at_first(two_colours: list[Manifest]) -> None:
    names = {job["metadata"]["name"] for job in of_kind(two_colours, "Job")}

    assert names == {f"agents-{what}-{colour}" for what in ("migrate", "preflight") for colour in ("blue", "green")}


def test_the_preflight_has_what_the_services_will_have(rendered: list[Manifest]) -> None:
    for job in preflights(rendered):
        for container in [each for each in pod_spec(job)["containers"] if each["name"] in SERVICES]:
            [settings] = [
                each
                for each in of_kind(rendered, "ConfigMap")
                if component(each) == container["name"]
                and each["metadata"]["labels"]["flotilla/color"] == job["metadata"]["labels"]["flotilla/color"]
                and "APP_ENV" in each["data"]
            ]
            assert {each["name"]: each["value"] for each in container["env"]} == settings["data"]


def test_the_preflight_runs_without_the_secrets_so_that_it_can_name_them(production: list[Manifest]) -> None:
    [job] = preflights(production)

    for volume in pod_spec(job)["volumes"]:
        for source in volume.get("projected", {}).get("sources", []):
            assert source["secret"]["optional"] is True
        assert volume.get("secret", {"optional": True})["optional"] is True


def test_the_preflight_looks_for_the_owners_secret_where_a_hook_needs_it(
    production: list[Manifest], development: list[Manifest]
) -> None:
    with_hook, without = (
        [each["name"] for each in pod_spec(preflights(found)[0])["containers"]] for found in (production, development)
    )

    assert set(with_hook) - set(without) == {"migration"}


def test_what_hooks_need_comes_before_them_and_goes_after_them(rendered: list[Manifest]) -> None:
    for manifest in rendered:
        if is_early(manifest):
            annotations = manifest["metadata"]["annotations"]
            is_job = manifest["kind"] == "Job"
            assert (int(annotations["helm.sh/hook-weight"]) > -10) == is_job
            assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"


def test_no_hook_takes_part_in_a_rollback(rendered: list[Manifest]) -> None:
    kinds = {manifest["metadata"].get("annotations", {}).get(HOOK) for manifest in rendered}

    assert kinds <= {None, EARLY, "test"}


def migrations(found: list[Manifest]) -> list[Manifest]:
    return [job for job in of_kind(found, "Job") if component(job) == "migration"]


def preflights(found: list[Manifest]) -> list[Manifest]:
    return [job for job in of_kind(found, "Job") if component(job) == "preflight"]
