package sdk

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rotatord/rotator/drivers/sdk/proto"
)

func TestLedgerIsBounded(t *testing.T) {
	l := newLedger(3)
	check := func(id int, group string) codes.Code {
		return status.Code(l.check(fmt.Sprint(id), "Prepare", &proto.PrepareRequest{GroupId: group}))
	}
	for id := range 10 {
		if got := check(id, "g"); got != codes.OK {
			t.Fatalf("id %d: %v", id, got)
		}
		if len(l.known) > 3 || len(l.order) > 3 {
			t.Fatalf("the ledger holds %d ids in an order of %d", len(l.known), len(l.order))
		}
	}
	for id, want := range map[int]codes.Code{9: codes.AlreadyExists, 8: codes.AlreadyExists, 7: codes.AlreadyExists} {
		if got := check(id, "h"); got != want {
			t.Errorf("id %d with another body: %v, want %v", id, got, want)
		}
	}
	if got := check(0, "h"); got != codes.OK {
		t.Errorf("an id that was forgotten: %v", got)
	}
}
