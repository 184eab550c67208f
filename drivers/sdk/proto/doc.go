// Package proto is the driver protocol on the wire. driver.proto documents it;
// the code is generated from that. Authors of drivers in Go use package sdk
// instead.
package proto

//go:generate ./generate.sh
