package model

import (
	"fmt"
	"log/slog"
	"time"
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
