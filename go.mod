module github.com/rotatord/rotator

go 1.26.0
