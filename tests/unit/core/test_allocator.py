import platform

from unsee.core.allocator import settle


def test_it_acts_exactly_where_glibc_is():
    assert settle() is (platform.libc_ver()[0] == "glibc")


def test_a_second_call_changes_nothing():
    assert settle() is settle()
