import platform

from unsee.core.allocator import keep_freed_memory


def test_the_setting_is_made_with_glibc_only():
    assert keep_freed_memory() is (platform.libc_ver()[0] == "glibc")
