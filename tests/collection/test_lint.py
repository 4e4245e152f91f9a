"""The linters of the Ansible world, in their strictest form, and the formatter, which decides style."""

from __future__ import annotations


def test_ansible_lint(root, scratch, bin, run):
    # provider.fleet itself, and the collections that playbooks of Molecule and AWX use
    paths = f"{scratch.parents[2]}:{root / '.cache/collections'}"
    run(
        bin / "ansible-lint",
        "--offline",
        "--strict",
        "--nocolor",
        cwd=scratch,
        ANSIBLE_COLLECTIONS_PATH=paths,
    )


def test_python_style(collection, bin, run):
    run(bin / "ruff", "format", "--check", "--diff", "--no-cache", ".", cwd=collection)
    run(bin / "ruff", "check", "--no-cache", ".", cwd=collection)


def test_types(collection, bin, run):
    """Strictly what runs on nodes and makes reports, plainly all else."""
    run(bin / "mypy", "--no-incremental", cwd=collection)
    rest = ["--no-incremental", "--config-file=tools/mypy.ini", f"--python-executable={bin}/python"]
    run(bin / "mypy", *rest, cwd=collection)


def test_changelog(collection, bin, run):
    run(bin / "antsibull-changelog", "lint", cwd=collection)


def test_module_documentation(collection, bin, run):
    run(
        bin / "antsibull-docs",
        "lint-collection-docs",
        "--plugin-docs",
        "--validate-collection-refs=self",
        collection,
    )


def test_shell_scripts(collection, run):
    scripts = [
        "run-site",
        "run-tests",
        "tools/setup.sh",
        "tools/venv",
        ".ci/run",
        "bench/run",
        "bench/first_answer",
        "roles/zombie_reaper/molecule/build_images.sh",
        "tests/rig/debian_image.sh",
        "tests/rig/unpack.sh",
        *(f"tests/vm/{name}.sh" for name in ("image", "initrd_init", "machine_init")),
    ]
    run("/usr/bin/shellcheck", "--exclude=SC1091,SC2086", "--shell=bash", *scripts, cwd=collection)
