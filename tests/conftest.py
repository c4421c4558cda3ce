"""What many tests share: tiny data and quick recipes."""

import os
import tempfile

os.environ["SUPCRD_CACHE"] = tempfile.mkdtemp(prefix="supcrd-tests-")  # no test writes to the user's own
# Tests run tiny tensors: threads would cost more than they give, and starve others on a shared machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from browsing import ARGUMENTS, CHROMIUM, DRIVER, media, size
from supcrd.models import Model
from typed import images, invoke, student, write_npz

# What `make quick` leaves out: whole jobs and reports, large networks, processes of their own, signals, the browser.
SLOW = (
    "tests/base/test_seeding.py::test_the_same_in_another_process",
    "tests/base/test_workers.py",
    "tests/benchmark/test_benchmark.py",
    "tests/browser/",
    "tests/chaos/",
    "tests/cli/test_bad_models.py",
    "tests/cli/test_bad_runs.py",
    "tests/cli/test_cli.py",
    "tests/data/test_data_cifar.py",
    "tests/data/test_data_classes.py::test_a_folder",
    "tests/data/test_data_order.py::test_a_shard_that_vanishes_in_an_epoch_is_one_line",
    "tests/data/test_data_shards.py::test_a_run_on_shards",
    "tests/data/test_data_stream.py",
    "tests/distil/test_distil.py",
    "tests/docs/",
    "tests/evaluation/test_own_measure.py",
    "tests/export/",
    "tests/figures/test_alignment.py::test_an_untrained_head_is_said",
    "tests/figures/test_extra.py",
    "tests/figures/test_hypersphere.py::test_ten_thousand_points",
    "tests/figures/test_style.py::test_the_ending_chooses_the_format_and_the_same_bytes_come_again",
    "tests/figures/test_tsne.py",
    "tests/figures/test_words.py",
    "tests/fuzz/",
    "tests/jobs/",
    "tests/metrics/test_metrics_estimates.py",
    "tests/metrics/test_metrics_logits.py::test_knn_of_equal_cosines",
    "tests/models/archs/test_archs_counts.py::test_the_document_is_of_these_networks",
    "tests/models/test_from_timm.py",
    "tests/models/test_frozen.py",
    "tests/models/test_models.py::test_resnet_names_are_torchvisions",
    "tests/models/test_outside.py",
    "tests/models/test_weights.py::test_any_timm_model_whose_arch_is_named",
    "tests/models/test_weights.py::test_bottlenecks",
    "tests/models/test_weights.py::test_damaged_safetensors",
    "tests/models/test_weights.py::test_published_",
    "tests/models/test_weights.py::test_weights_need_nothing_beside_them",
    "tests/models/test_weights.py::test_weights_of_another_network",
    "tests/recipe/test_recipe.py::test_a_misspelt_key_is_told_the_right_one",
    "tests/report/test_report_page.py",
    "tests/report/test_shown.py::test_a_figure_of_another_process_is_the_same",
    "tests/report/test_report_page.py::test_few_classes_and_images",
    "tests/report/test_shown.py::test_no_figure_needs_torch",
    "tests/reproduction/test_export.py",
    "tests/reproduction/test_reproduce.py",
    "tests/reproduction/test_results.py::test_tables_are_tables_whatever_is_there",
    "tests/runs/test_folder.py::test_a_report_reads_each_file_once",
    "tests/tracking/test_mlflow_server.py",
    "tests/tracking/test_tensorboard.py::test_it_can_be_asked_for_at_any_time_and_is_not_another_run",
    "tests/tracking/test_tensorboard.py::test_killed_and_gone_on_leaves_no_step_twice_or_out",
    "tests/sweep/",
    "tests/test_examples.py",
    "tests/test_security.py",
    "tests/test_golden.py",
    "tests/test_notebook.py",
    "tests/test_objectives.py::test_a_changed_term_asks_for_force_which_keeps_the_teacher",
    "tests/test_objectives.py::test_a_term_is_tried_without_a_run",
    "tests/test_objectives.py::test_the_commands_run_in_their_order",
    "tests/test_public.py",
    "tests/test_theory.py",
    "tests/tracking/test_trackers.py::test_a_database_of_mlflow_s",
    "tests/tracking/test_trackers.py::test_mlflow_has_each_epoch_once",
    "tests/tracking/test_trackers.py::test_tensorboard_has_the_end_too",
    "tests/tracking/test_trackers.py::test_wandb_has_each_epoch_once",
    "tests/tracking/test_trackers.py::test_what_shows_a_run_does_not_make_it_another",
    "tests/training/objective/test_pairs_of_the_field.py",
    "tests/training/test_blocks.py",
    "tests/training/test_cache.py",
    "tests/training/test_compile.py",
    "tests/training/test_generators.py",
    "tests/training/test_plugins.py",
    "tests/training/test_synchronised.py",
    "tests/training/test_training.py::test_half_and_resumed_equals_whole_run",
    "tests/training/test_world.py::test_a_",
)

# What `make test` leaves to `make long`, so that it takes minutes: the same thing for every method, network, stage or
# browser page, where `make test` has one of them, and whole programs of others. CI runs both.
LONG = (
    "tests/sweep/executors/test_dask.py::test_two_workers_give_the_runs_of_this_process",
    "tests/sweep/executors/test_ray.py::test_a_cluster_gives_the_run_of_this_process",
    "tests/base/test_seeding.py::test_the_same_in_another_process",
    "tests/base/test_workers.py::test_threads_are_set_before_torch_is_there",
    "tests/benchmark/test_benchmark.py::test_a_cut_run_goes_on",
    "tests/benchmark/test_benchmark.py::test_a_method_that_fails_stops_no_other_and_is_named",
    "tests/benchmark/test_benchmark.py::test_killed_and_gone_on_it_gives_the_same",
    "tests/benchmark/test_benchmark.py::test_numbers_are_those_of_the_run_folders",
    "tests/benchmark/test_benchmark.py::test_weights_as_a_teacher",
    "tests/benchmark/test_benchmark.py::test_without_validation_images_there_is_no_selected_epoch",
    "tests/browser/",
    "tests/chaos/test_chaos.py",
    "tests/cli/test_bad_models.py::test_a_teacher_of_a_size_that_its_weights_contradict",
    "tests/cli/test_cli.py::test_ctrl_c_keeps_the_checkpoint_and_the_same_command_goes_on",
    "tests/cli/test_cli.py::test_demo",
    "tests/cli/test_terminal.py::test_a_class_and_a_file_of_a_name_that_steers",
    "tests/data/test_data_parquet.py::test_a_run_on_parquet",
    "tests/data/test_data_stream.py::test_a_process_that_stops_early_ends",
    "tests/distil/test_distil.py::test_minutes_give_all_students_the_same_epochs",
    "tests/docs/test_guides.py::test_commands_are_those_of_the_command_line[reproduce.md]",
    "tests/docs/test_guides.py::test_commands_are_those_of_the_command_line[scale.md]",
    "tests/docs/test_guides.py::test_python_runs_in_its_order[sweeps.md]",
    "tests/evaluation/test_own_measure.py::test_the_example_of_the_documents",
    "tests/export/test_exported.py::test_a_program_answers_as_the_onnx_file",
    "tests/export/test_exported_networks.py::test_a_network_of_each_family_answers_as_its_files",
    "tests/export/test_exported_networks.py::test_layers_of_equal_weights_have_names_of_their_own",
    "tests/export/test_onnx_files.py::test_other_networks",
    "tests/export/test_onnx_files.py::test_the_reference_evaluator_agrees_at_every_batch_size",
    "tests/export/test_quantise.py::test_the_layer_with_the_widest_weights_is_the_most_sensitive",
    "tests/figures/test_extra.py::test_the_rest_is_there_without_it",
    "tests/figures/test_style.py::test_the_ending_chooses_the_format_and_the_same_bytes_come_again[alignment-html]",
    "tests/fuzz/",
    "tests/jobs/test_budget.py::test_a_cut_run_has_the_epochs_that_it_began_with",
    "tests/jobs/test_budget.py::test_a_run_of_minutes_is_the_run_of_the_epochs_that_they_give",
    "tests/jobs/test_compared_methods.py::test_trained_cut_and_resumed_is_the_same_to_the_bit_and_is_reported[crd_nce]",
    "tests/jobs/test_deploy.py::test_int8_that_loses_too_much_leaves_the_old_file",
    "tests/jobs/test_deploy.py::test_logits_that_are_not_the_models_are_refused",
    "tests/jobs/test_encoders.py::test_an_encoder_teaches",
    "tests/jobs/test_one_teacher.py::test_one_copy_of_the_teacher_is_alive_while_the_student_learns[0-1]",
    "tests/jobs/test_one_teacher.py::test_one_copy_of_the_teacher_is_alive_while_the_student_learns[2-0]",
    "tests/jobs/test_pipeline.py::test_every_builtin_recipe_takes_two_steps",
    "tests/jobs/test_recipes_at_scale.py::test_it_takes_two_steps_with_all_of_its_classes[imagenet-r34-r18]",
    "tests/jobs/test_resume.py::test_a_full_disk_leaves_the_last_good_checkpoint",
    "tests/jobs/test_resume.py::test_killed_twenty_times_and_gone_on_is_the_same_to_the_bit[crd]",
    "tests/jobs/test_resume.py::test_killed_twenty_times_and_gone_on_is_the_same_to_the_bit[dkd]",
    "tests/jobs/test_resume.py::test_killed_twenty_times_and_gone_on_is_the_same_to_the_bit[kd",
    "tests/jobs/test_resume.py::test_killed_twenty_times_and_gone_on_is_the_same_to_the_bit[lw",
    "tests/jobs/test_resume.py::test_killed_twenty_times_and_gone_on_is_the_same_to_the_bit[supcon]",
    "tests/jobs/test_shared_stream.py",
    "tests/jobs/test_shared_training.py::test_a_dead_process_ends_the_others_and_one_goes_on",
    "tests/jobs/test_shared_training.py::test_a_failure_of_the_first_process_alone_ends_all",
    "tests/jobs/test_shared_training.py::test_a_signal_saves_and_the_same_command_goes_on",
    "tests/jobs/test_shared_training.py::test_four_processes_give_the_numbers_of_one",
    "tests/jobs/test_shared_training.py::test_killed_at_a_random_moment_another_number_goes_on",
    "tests/jobs/test_shared_training.py::test_processes_that_were_started_with_other_recipes_end",
    "tests/jobs/test_shared_training.py::test_two_processes_give_the_numbers_of_one",
    "tests/jobs/test_shared_training.py::test_two_processes_measure_a_file_as_one_does",
    "tests/jobs/test_start.py::test_two_processes_start_alike",
    "tests/jobs/test_teachers.py::test_a_teacher_that_another_process_trains_is_waited_for",
    "tests/jobs/test_teachers.py::test_a_teacher_with_another_normalisation_is_refused",
    "tests/jobs/test_terminated.py::test_a_process_that_gets_sigterm_keeps_its_state_and_goes_on",
    "tests/jobs/test_terminated.py::test_sigterm_in_any_stage_is_as_if_it_had_not_come",
    "tests/metrics/test_metrics_blocks.py::test_at_ten_thousand_classes_they_are_scipys",
    "tests/metrics/test_metrics_estimates.py::test_no_metric_makes_a_copy_of_all_rows",
    "tests/models/test_frozen.py::test_outputs_are_the_encoders_and_the_encoder_stays[timm:vit_tiny_patch16_224]",
    "tests/models/test_outside.py::test_a_teachers_folder_of_before_is_taken_only_where_it_is_the_same_network",
    "tests/models/test_outside.py::test_a_transformer_tells_its_size_but_not_who_trained_it",
    "tests/models/test_outside.py::test_evaluate_gives_timms_accuracy",
    "tests/models/test_outside.py::test_logits_are_timms_own",
    "tests/models/test_outside.py::test_predict_at_a_size",
    "tests/models/test_outside.py::test_size_and_normalisation_are_timms_where_nothing_else_is_said[deit_tiny_patch16_224",
    "tests/models/test_outside.py::test_transformers_whose_patches_do_not_tell_their_size",
    "tests/models/test_outside.py::test_weights_that_leave_the_size_open_take_the_datas",
    "tests/models/test_outside.py::test_weights_that_several_networks_would_take_are_refused",
    "tests/models/test_weights.py::test_any_timm_model_whose_arch_is_named",
    "tests/models/test_weights.py::test_published_teacher_without_projection[resnet50-fc]",
    "tests/models/test_weights.py::test_weights_need_nothing_beside_them",
    "tests/recipe/test_recipe.py::test_a_misspelt_key_is_told_the_right_one[joint]",
    "tests/recipe/test_recipe.py::test_a_misspelt_key_is_told_the_right_one[review]",
    "tests/report/test_report_page.py::test_few_classes_and_images",
    "tests/report/test_shown.py::test_a_figure_of_another_process_is_the_same",
    "tests/report/test_shown.py::test_no_figure_needs_torch",
    "tests/reproduction/test_export.py::test_a_timm_network_is_written_as_the_published_timm_teacher",
    "tests/reproduction/test_export.py::test_figures_have_the_published_names",
    "tests/reproduction/test_export.py::test_networks_outside_the_published_layout_are_written_and_said_so[timm:efficientnet_lite0-True]",
    "tests/reproduction/test_export.py::test_the_name_says_where_timm_would_run_weights_with_another_stem[timm:re",
    "tests/reproduction/test_export.py::test_the_whole_layout",
    "tests/reproduction/test_export.py::test_weights_load_in_the_published_wrapper_and_give_the_run_s_numbers",
    "tests/reproduction/test_reproduce.py::test_the_page_about_it",
    "tests/runs/test_folder.py::test_a_report_reads_each_file_once",
    "tests/sweep/executors/test_slurm.py::test_a_preempted_job_saves_and_goes_on_in_the_next",
    "tests/sweep/test_launched.py::test_two_processes_give_the_run_of_one",
    "tests/sweep/test_search.py::test_real_runs_pause_and_go_on_to_the_bit",
    "tests/sweep/test_sweep.py::test_a_worker_that_dies_fails_its_run_only",
    "tests/sweep/test_sweep.py::test_interrupted_workers_checkpoint_and_the_same_sweep_goes_on",
    "tests/sweep/test_sweep.py::test_published_weights_are_imported_once_by_any_executor",
    "tests/test_examples.py::test_a_term_and_a_network_of_ones_own",
    "tests/test_examples.py::test_photographs_to_int8",
    "tests/test_golden.py::test_runs_are_reported_and_drawn",
    "tests/test_notebook.py::test_it_runs_from_top_to_bottom_and_trains_again_only_where_asked",
    "tests/test_objectives.py::test_a_term_is_tried_without_a_run",
    "tests/test_objectives.py::test_the_commands_run_in_their_order",
    "tests/test_public.py::test_a_model_is_loaded_by_a_program_that_has_little_else",
    "tests/test_public.py::test_a_type_checker_knows_the_card_of_a_loaded_model",
    "tests/test_theory.py::test_size_of_adams_epsilon",
    "tests/tracking/test_mlflow_server.py",
    "tests/tracking/test_tensorboard.py::test_it_can_be_asked_for_at_any_time_and_is_not_another_run",
    "tests/tracking/test_tensorboard.py::test_killed_and_gone_on_leaves_no_step_twice_or_out",
    "tests/tracking/test_trackers.py::test_a_database_of_mlflow_s",
    "tests/tracking/test_trackers.py::test_mlflow_has_each_epoch_once",
    "tests/tracking/test_trackers.py::test_offline_sessions_of_wandb_are_one_run",
    "tests/tracking/test_trackers.py::test_tensorboard_has_the_end_too",
    "tests/tracking/test_trackers.py::test_wandb_has_each_epoch_once",
    "tests/tracking/test_trackers.py::test_what_shows_a_run_does_not_make_it_another",
    "tests/training/objective/test_pairs_of_the_field.py::test_every_method_on_a_pair_of_the_field",
    "tests/training/test_blocks.py::test_every_image",
    "tests/training/test_blocks.py::test_three_processes",
    "tests/training/test_blocks.py::test_what_fails",
    "tests/training/test_plugins.py::test_a_changed_plug_in_of_a_teacher_names_the_way_out_for_the_teacher",
    "tests/training/test_plugins.py::test_a_run_of_a_plug_in_resumes_to_the_bit",
    "tests/training/test_plugins.py::test_a_term_a_network_and_a_source_of_ones_own",
    "tests/training/test_plugins.py::test_weights_need_the_plug_in_and_run_no_code",
    "tests/training/test_processes.py::test_terms_have_the_value_and_gradient_of_one_process",
    "tests/training/test_training.py::test_half_and_resumed_equals_whole_run[crd]",
    "tests/training/test_training.py::test_half_and_resumed_equals_whole_run[hybrid]",
    "tests/training/test_training.py::test_half_and_resumed_equals_whole_run[kd]",
)

# What only `make hand` runs: more of what `make long` has, for whoever works on it.
HAND = (
    "tests/benchmark/test_benchmark.py::test_a_cut_run_goes_on",
    "tests/jobs/test_resume.py::test_killed_twenty_times_and_gone_on_is_the_same_to_the_bit[kd]",
    "tests/export/test_exported_networks.py::test_a_network_of_each_family_answers_as_its_files[mobilenetv2]",
    "tests/export/test_exported_networks.py::test_a_network_of_each_family_answers_as_its_files[shufflenetv1]",
    "tests/export/test_exported_networks.py::test_a_network_of_each_family_answers_as_its_files[wrn-16-1]",
    "tests/jobs/test_resume.py::test_killed_twenty_times_and_gone_on_is_the_same_to_the_bit[crd]",
    "tests/jobs/test_resume.py::test_killed_twenty_times_and_gone_on_is_the_same_to_the_bit[cross_entropy]",
    "tests/jobs/test_resume.py::test_killed_twenty_times_and_gone_on_is_the_same_to_the_bit[dkd]",
    "tests/jobs/test_resume.py::test_killed_twenty_times_and_gone_on_is_the_same_to_the_bit[hybrid]",
    "tests/jobs/test_resume.py::test_killed_twenty_times_and_gone_on_is_the_same_to_the_bit[supcon]",
    "tests/jobs/test_shared_training.py::test_a_signal_saves_and_the_same_command_goes_on[15-143]",
    "tests/sweep/test_sweep.py::test_interrupted_workers_checkpoint_and_the_same_sweep_goes_on[15-143]",
    "tests/training/objective/test_pairs_of_the_field.py::test_every_method_on_a_pair_of_the_field[resnet32x4-shufflenetv2]",
    "tests/training/objective/test_pairs_of_the_field.py::test_every_method_on_a_pair_of_the_field[wrn-40-2-wrn-40-1]",
    "tests/jobs/test_shared_training.py::test_four_processes_give_the_numbers_of_one",
    "tests/jobs/test_shared_training.py::test_killed_at_a_random_moment_another_number_goes_on[1-2-",
    "tests/jobs/test_shared_training.py::test_killed_at_a_random_moment_another_number_goes_on[2-1-2]",
    "tests/jobs/test_shared_training.py::test_killed_at_a_random_moment_another_number_goes_on[2-1-6]",
    "tests/jobs/test_shared_training.py::test_killed_at_a_random_moment_another_number_goes_on[2-1-9]",
    "tests/jobs/test_shared_training.py::test_killed_at_a_random_moment_another_number_goes_on[4-",
    "tests/jobs/test_shared_training.py::test_torchrun_begins_anew_after_a_death",
    "tests/jobs/test_shared_training.py::test_two_processes_give_the_numbers_of_one[crd]",
    "tests/jobs/test_recipes_at_scale.py::test_it_takes_two_steps_with_all_of_its_classes[imagenet-r101-r18]",
    "tests/jobs/test_recipes_at_scale.py::test_it_takes_two_steps_with_all_of_its_classes[imagenet-r50-mobilenetv1]",
    "tests/jobs/test_recipes_at_scale.py::test_it_takes_two_steps_with_all_of_its_classes[imagenet-strong-r18]",
    "tests/jobs/test_recipes_at_scale.py::test_it_takes_two_steps_with_all_of_its_classes[imagenet-wrn50-r18]",
    "tests/jobs/test_recipes_at_scale.py::test_it_takes_two_steps_with_all_of_its_classes[inat2021-",
    "tests/sweep/test_search.py::test_a_point_that_comes_again_is_not_made_again",
    "tests/sweep/test_search.py::test_halving_is_that_of_a_naive_loop_and_the_choice_is_by_validation[later]",
    "tests/sweep/test_search.py::test_killed_and_gone_on_it_is_the_same",
    "tests/sweep/test_search.py::test_more_trials_go_on_and_another_search_is_refused",
)

collect_ignore = ["data/make_golden.py"]  # imports what 0.1.0 had, and where it had it


def pytest_collection_modifyitems(items):
    """Mark the slow and the long tests, which are listed in one place."""
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker("slow")
        if item.nodeid.startswith(HAND):
            item.add_marker("hand")
        elif item.nodeid.startswith(LONG):
            item.add_marker("long")


def pytest_unconfigure():
    """Remove the cache of the tests."""
    shutil.rmtree(os.environ["SUPCRD_CACHE"], ignore_errors=True)


@pytest.fixture
def npz(tmp_path):
    """An npz of 8 x 8 RGB images in three classes that a small net can tell apart: the channel that is bright."""
    random = np.random.default_rng(0)

    def images(count):
        labels = np.arange(count) % 3
        pixels = random.integers(0, 60, (count, 8, 8, 3), dtype=np.uint8)
        pixels[np.arange(count), :, :, labels] += 150
        return pixels, labels.astype(np.int64)

    path = tmp_path / "tiny.npz"
    train, test = images(60), images(30)
    np.savez(path, train_images=train[0], train_labels=train[1], test_images=test[0], test_labels=test[1])
    return path


@pytest.fixture
def quick(npz):
    """Overrides that make any built-in recipe take seconds on the tiny set."""
    return [f"data.source=npz:{npz}", "model.arch=convnet", "train.epochs=2", "train.batch_size=16", "probe.epochs=2"]


@pytest.fixture
def quick_teacher():
    """Overrides likewise for the teacher of a student's recipe."""
    train = ["train.epochs=1", "train.batch_size=16", "head.epochs=1", "probe.epochs=0", "model.arch=convnet"]
    return [f"teacher.override.{change}" for change in train]


@pytest.fixture
def weights_from(monkeypatch):
    """timm's own loading of pretrained weights, from a file in place of the network."""
    import timm

    create = timm.create_model

    def use(path, classes):
        overlay = {"file": str(path), "num_classes": classes}

        def patched(name, pretrained=False, **options):
            return create(name, pretrained=pretrained, pretrained_cfg_overlay=overlay, **options)

        monkeypatch.setattr(timm, "create_model", patched)

    return use


@pytest.fixture
def plain(monkeypatch):
    """Reports with figures that are quick."""
    from supcrd.report import shown

    few = {name: shown.pages()[name] for name in ("hypersphere", "alignment")}
    monkeypatch.setattr(shown, "pages", lambda: few)


@pytest.fixture
def no_figures(monkeypatch):
    """Reports of words and tables only."""
    from supcrd.report import shown

    monkeypatch.setattr(shown, "pages", dict)


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A folder with a tiny set, a published file of each kind and a finished student (crd) with its teacher."""
    folder = tmp_path_factory.mktemp("base")
    write_npz(folder / "tiny.npz")
    for arch in ("convnet", "resnet8"):
        torch.manual_seed(0)
        torch.save(Model(3, arch, image_size=8).state_dict(), folder / f"{arch}.pth")
    Image.fromarray(images(1)[0][0]).save(folder / "image.png")
    assert invoke("train", "digits-crd", *student(folder), "--out", folder / "runs").exit_code == 0
    return folder


@pytest.fixture
def out(base, tmp_path):
    """A copy of the finished runs."""
    return shutil.copytree(base / "runs", tmp_path / "runs")


@pytest.fixture(scope="session")
def chromium():
    """One browser for all tests; its driver is named, so that nothing is looked for on the network."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(180)
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium):
    size(chromium, 1280)
    media(chromium, "light")
    for log in ("browser", "performance"):
        chromium.get_log(log)
    yield chromium
    chromium.execute_script("try { localStorage.clear() } catch {}")
