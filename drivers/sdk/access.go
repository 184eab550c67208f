package sdk

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk/proto"
)

// Access says how a cluster's API server is reached. It is secret.
type Access struct {
	Endpoint   string // URL
	CA         []byte // PEM; empty: the system's roots
	ServerName string // in its certificate; empty: the endpoint's host
	// A bearer token, or a client certificate with its key in PEM.
	Token                        string
	ClientCertificate, ClientKey []byte
	ExpiresAt                    time.Time // zero: never
}

// Secrets stay out of logs, however an Access gets there.
var (
	_ fmt.Formatter  = (*Access)(nil)
	_ slog.LogValuer = (*Access)(nil)
)

// Format implements fmt.Formatter: the endpoint, never a credential.
func (a Access) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "access to %s", a.Endpoint) }

// LogValue implements slog.LogValuer.
func (a Access) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(a)) }

func (s *server) Access(ctx context.Context, r *proto.AccessRequest) (*proto.AccessResponse, error) {
	d, ok := s.d.(Accessor)
	if !ok {
		return nil, notOffered(s.d, "Access")
	}
	if err := s.ready(); err != nil {
		return nil, err
	}
	if r.GetCluster() == "" {
		return nil, Errorf(codes.InvalidArgument, "Access: cluster is empty")
	}
	a, err := d.Access(ctx, r.GetCluster())
	switch {
	case err != nil:
		return nil, wireError(err)
	case a == nil || a.Endpoint == "" || a.Token == "" && (len(a.ClientCertificate) == 0 || len(a.ClientKey) == 0):
		return nil, Errorf(codes.Internal, "Access: the driver answered no endpoint or no credentials: this is a bug of the driver")
	}
	return &proto.AccessResponse{Endpoint: a.Endpoint, Ca: a.CA, ServerName: a.ServerName, Token: a.Token,
		ClientCertificate: a.ClientCertificate, ClientKey: a.ClientKey, ExpiresAt: stamp(a.ExpiresAt)}, nil
}
