# What autopkgtest does on a machine that it has made: the package is there, debian/tests are run.
check "the packages install" install_debs ./debs/*.deb
export AUTOPKGTEST_TMP=/tmp/autopkgtest
mkdir "$AUTOPKGTEST_TMP"
check "debian/tests pass" bash debian/tests/scenarios
