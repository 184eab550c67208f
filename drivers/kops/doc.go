// Package kops is the place of the driver for clusters that kops made. It is
// not written yet: this release has the eks driver only. See docs/SCOPE.md.
package kops
