package undertest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConnectionStringsOfOthers(t *testing.T) {
	const opsForm = "DefaultUserCredentials=ops:changeit"
	for admin, ops := range map[string]string{
		"tcp://admin:changeit@127.0.0.1:1113":            "tcp://ops:changeit@127.0.0.1:1113",
		"tcp://127.0.0.1:1113":                           "tcp://ops:changeit@127.0.0.1:1113",
		"tls://root:p%40ss@h:1113?tlsCAFile=a@b":         "tls://ops:changeit@h:1113?tlsCAFile=a@b",
		"discover://admin:changeit@h:2113?maxRetries=1":  "discover://ops:changeit@h:2113?maxRetries=1",
		"GossipSeeds=h:2113; DefaultUserCredentials=a:b": "GossipSeeds=h:2113; " + opsForm,
		"defaultusercredentials=a:b; GossipSeeds=h:2113": opsForm + "; GossipSeeds=h:2113",
		"GossipSeeds=h:2113":                             "GossipSeeds=h:2113; " + opsForm,
		"ConnectTo=tcp://a:b@h:1113; MaxRetries=1":       "ConnectTo=tcp://ops:changeit@h:1113; MaxRetries=1",
	} {
		t.Setenv(RunAs, Admin)
		assert.Equal(t, admin, As(admin))
		t.Setenv(RunAs, Ops)
		assert.Equal(t, ops, As(admin))
	}
}
