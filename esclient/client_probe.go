package esclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// probeTimeout is how long a probe of a peer may take.
const probeTimeout = time.Second

// The results of probes of a peer that does not speak the protocol, or does not use TLS as configured.
var (
	errHTTPPort = errors.New("it speaks HTTP: this looks like the HTTP port, and TCP has another one, 1113 by default")
	errHTTPS    = errors.New("it speaks HTTPS: this looks like the HTTP port, and TCP has another one, 1113 by default")
	errTLSPort  = errors.New("it speaks TLS: set Config.TLS, or tls in the connection string")
	errPlain    = errors.New("it does not speak TLS: unset Config.TLS, or tls in the connection string")
)

// What to do about a certificate.
const (
	trustAdvice = "give the file of the authority as Config.TLSCAFile, or as tlsCAFile in the connection string"
	nameAdvice  = "connect to a host that it is for, or set tlsServerName in the connection string"
)

// anyPeer accepts any certificate. Probes send no secrets.
var anyPeer = &tls.Config{
	InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
}

// recognise implements engine.ManagerConfig.Recognise. It sends nothing secret.
func (d *dialer) recognise(ctx context.Context, endpoint string) error {
	if err := d.probe(ctx, endpoint, d.tellTLS); err != nil {
		return err
	}
	return d.probe(ctx, endpoint, func(_ context.Context, nc net.Conn) error {
		if speaksHTTP(nc) {
			return errHTTPPort
		}
		return nil
	})
}

// tellTLS finds out whether the peer speaks TLS, and which protocol it speaks over TLS.
func (d *dialer) tellTLS(ctx context.Context, nc net.Conn) error {
	tc := tls.Client(nc, anyPeer)
	err := tc.HandshakeContext(ctx)
	var alert *net.OpError
	switch {
	case err == nil && (tc.ConnectionState().NegotiatedProtocol != "" || speaksHTTP(tc)):
		return errHTTPS
	case d.tls == nil && (err == nil || errors.As(err, &alert) && alert.Op == "remote error"):
		return errTLSPort
	}
	return nil
}

// speaksHTTP reports whether the peer answers like an HTTP server.
func speaksHTTP(nc net.Conn) bool {
	if _, err := nc.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
		return false
	}
	answer := make([]byte, len("HTTP/"))
	_, err := io.ReadFull(nc, answer)
	return err == nil && string(answer) == "HTTP/"
}

// probe opens a connection that lasts for at most probeTimeout.
func (d *dialer) probe(ctx context.Context, endpoint string, ask func(context.Context, net.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	nc, err := d.connect(ctx, "tcp", endpoint)
	if err != nil {
		return nil
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	return ask(ctx, nc)
}

// explainTLS adds a cause to the error of a TLS handshake if the peer does not use TLS.
func (d *dialer) explainTLS(ctx context.Context, endpoint string, err error) error {
	var (
		record    tls.RecordHeaderError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
	)
	switch {
	case errors.As(err, &authority) && d.caFile == "":
		return fmt.Errorf("%w: %s", err, trustAdvice)
	case errors.As(err, &name):
		return fmt.Errorf("%w: %s", err, nameAdvice)
	case errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/":
		return fmt.Errorf("%w: %w: %w", errEngineNotEventStore, errHTTPPort, err)
	case errors.As(err, &record):
		return fmt.Errorf("%w: %w: %w", errEngineNotEventStore, errPlain, err)
	case !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, io.EOF):
		return err
	}
	if what := d.probePlain(context.WithoutCancel(ctx), endpoint); what != nil {
		return fmt.Errorf("%w: %w: %w", errEngineNotEventStore, what, err)
	}
	return fmt.Errorf("TLS handshake: %w", err)
}

// probePlain returns errPlain if the peer speaks the protocol without TLS.
func (d *dialer) probePlain(ctx context.Context, endpoint string) error {
	return d.probe(ctx, endpoint, func(_ context.Context, nc net.Conn) error {
		if answersHeartbeat(nc) {
			return errPlain
		}
		return nil
	})
}

func answersHeartbeat(nc net.Conn) bool {
	id := esproto.CorrelationID{1}
	if _, err := nc.Write(esproto.AppendFrame(nil, esproto.CmdHeartbeatRequest, id, nil)); err != nil {
		return false
	}
	frames := esproto.NewFrameReader(nc, 512, 1<<10)
	for {
		h, n, err := frames.Next()
		if err != nil {
			return false
		}
		if h.Command == esproto.CmdHeartbeatResponse && h.CorrelationID == id {
			return true
		}
		if n > 0 {
			if _, err := frames.Borrow(); err != nil {
				return false
			}
		}
	}
}
