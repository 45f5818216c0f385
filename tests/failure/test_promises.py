"""The model of promises itself, on histories written by hand: what it finds and what it lets pass."""

import pytest

from support.promises import Promises


@pytest.fixture
def model():
    return Promises(grace=10)


def found_broken(model):
    return len(model.broken())


def test_a_push_is_promised_for_its_grace_time(model):
    model.blob_written("app", "blob", 0, 1)
    model.blobs_asked("head", "app", ["blob"], 8, 9.5, False)
    assert found_broken(model) == 1


def test_and_not_for_longer(model):
    model.blob_written("app", "blob", 0, 1)
    model.blobs_asked("head", "app", ["blob"], 9, 10.5, False)
    assert found_broken(model) == 0
    assert model.counts["collected"] == 1


def test_a_report_is_promised_for_three_quarters(model):
    model.blob_reported("app", "blob", 0, 1)
    model.blobs_asked("put", "app", ["blob"], 7, 7.4, False)
    model.blobs_asked("put", "app", ["blob"], 7, 7.6, False)
    assert found_broken(model) == 1


def test_a_stamp_may_be_as_old_as_what_ran_beside(model):
    model.blob_written("app", "blob", 0, 5)
    model.blob_reported("app", "blob", 4, 6)
    model.blobs_asked("head", "app", ["blob"], 7, 7.4, False)
    model.blobs_asked("head", "app", ["blob"], 10, 11, False)
    assert found_broken(model) == 1


def test_a_blob_is_promised_in_its_repository_alone(model):
    model.blob_written("app", "blob", 0, 1)
    model.blobs_asked("head", "base", ["blob"], 2, 3, False)
    assert found_broken(model) == 0


def test_of_several_blobs_all_must_be_promised(model):
    model.blob_written("app", "one", 0, 1)
    model.blobs_asked("put", "app", ["one", "other"], 2, 3, False)
    assert found_broken(model) == 0
    model.blob_written("app", "other", 0, 1)
    assert found_broken(model) == 1


@pytest.mark.parametrize("start", [0, 0.5, 2, 3])
def test_who_deletes_a_blob_frees_it(model, start):
    model.blob_written("app", "blob", 0, 1)
    model.blob_deleted("app", "blob", start, start + 0.5)
    model.blobs_asked("head", "app", ["blob"], 2, 3, False)
    assert found_broken(model) == 0


def test_who_deletes_it_before_it_is_pushed_again_does_not(model):
    model.blob_deleted("app", "blob", 0, 1)
    model.blob_written("app", "blob", 2, 3)
    model.blobs_asked("head", "app", ["blob"], 4, 5, False)
    assert found_broken(model) == 1


def test_an_image_keeps_its_blobs(model):
    model.image_put("app", "image", ["blob"], 0, 1)
    model.blobs_asked("head", "app", ["blob"], 99, 100, False)
    assert found_broken(model) == 1
    model.image_deleted("app", "image", 80, 81)
    assert found_broken(model) == 0
    model.blobs_asked("head", "app", ["blob"], 88, 89, False)
    assert found_broken(model) == 1


def test_an_image_stays_until_it_is_deleted(model):
    model.image_put("app", "image", ["blob"], 0, 1)
    model.image_asked("get", "app", "image", 99, 100, False)
    assert found_broken(model) == 1
    model.image_deleted("app", "image", 100, 101)
    assert found_broken(model) == 0


def test_a_new_repository_is_empty(model):
    model.image_put("app", "image", ["blob"], 0, 1)
    model.repository_replaced("app", 2, 3, 4)
    model.image_asked("get", "app", "image", 5, 6, False)
    model.blobs_asked("head", "app", ["blob"], 5, 6, False)
    model.must_succeed("push", "app", 3, 5, False)
    assert found_broken(model) == 0
    model.must_succeed("push", "app", 5, 6, False)
    assert found_broken(model) == 1
