// A module of its own, because the kops library would bring more than a
// hundred modules into the graph of everybody who imports drivers/sdk.
module github.com/rotatord/rotator/drivers/kops

go 1.26.0
