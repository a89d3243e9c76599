// Package upgrade holds the tests of upgrading: processes of two releases side by side, and rolled back. See docs/upgrading.md.
package upgrade
