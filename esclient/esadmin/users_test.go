package esadmin_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestUsersAreManaged(t *testing.T) {
	c, m := manage(t)
	needsRefusals(t, c)
	ctx := testContext(t)
	jane := esadmin.User{Login: name("jane"), FullName: "Jane Doe", Groups: []string{"readers"}}
	as := func(password string) error {
		_, err := c.Ping(esclient.WithCredentials(ctx, esclient.Credentials{Login: jane.Login, Password: password}))
		return err
	}
	require.NoError(t, m.CreateUser(ctx, jane, "first"))
	t.Cleanup(func() { m.DeleteUser(ctx, jane.Login) })
	assert.NoError(t, as("first"))
	assert.ErrorIs(t, m.CreateUser(ctx, jane, "another"), esadmin.ErrUserExists)
	assert.NoError(t, m.CreateUser(ctx, jane, "first"), "to the server this is the same request again")

	got, err := m.User(ctx, jane.Login)
	require.NoError(t, err)
	assert.Zero(t, got.LastUpdated, "servers do not tell")
	assert.Equal(t, jane, got)

	jane.FullName, jane.Groups = "Jane Roe", nil
	require.NoError(t, m.UpdateUser(ctx, jane))
	users, err := m.Users(ctx)
	require.NoError(t, err)
	i := slices.IndexFunc(users, func(u esadmin.User) bool { return u.Login == jane.Login })
	require.GreaterOrEqual(t, i, 0)
	assert.Equal(t, "Jane Roe", users[i].FullName)
	assert.Empty(t, users[i].Groups)

	assert.ErrorIs(t, m.ChangePassword(ctx, jane.Login, "wrong", "second"), esclient.ErrAccessDenied)
	require.NoError(t, m.ChangePassword(ctx, jane.Login, "first", "second"))
	eventually(t, func() bool { return as("second") == nil })
	require.NoError(t, m.ResetPassword(ctx, jane.Login, "third"))
	eventually(t, func() bool { return as("third") == nil && errors.Is(as("second"), esclient.ErrNotAuthenticated) })

	require.NoError(t, m.DisableUser(ctx, jane.Login))
	eventually(t, func() bool { return errors.Is(as("third"), esclient.ErrNotAuthenticated) })
	got, err = m.User(ctx, jane.Login)
	require.NoError(t, err)
	assert.True(t, got.Disabled)
	require.NoError(t, m.EnableUser(ctx, jane.Login))
	eventually(t, func() bool { return as("third") == nil })

	require.NoError(t, m.DeleteUser(ctx, jane.Login))
	_, err = m.User(ctx, jane.Login)
	assert.ErrorIs(t, err, esadmin.ErrUserNotFound)
	for what, err := range map[string]error{
		"update":  m.UpdateUser(ctx, jane),
		"reset":   m.ResetPassword(ctx, jane.Login, "fourth"),
		"enable":  m.EnableUser(ctx, jane.Login),
		"disable": m.DisableUser(ctx, jane.Login),
		"delete":  m.DeleteUser(ctx, jane.Login),
	} {
		assert.ErrorIs(t, err, esadmin.ErrUserNotFound, what)
		assert.ErrorIs(t, err, esadmin.ErrNotFound, what)
		var failed *esadmin.HTTPError
		require.ErrorAs(t, err, &failed, what)
		assert.Equal(t, http.StatusNotFound, failed.Status)
	}
}

func TestRightsToManageUsers(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		t.Run(string(persona), func(t *testing.T) {
			_, m := manage(t, estest.WithPersona(persona))
			ctx := testContext(t)
			require.NoError(t, m.CreateUser(ctx, esadmin.User{Login: "jane"}, "secret"))
			jane := esclient.WithCredentials(ctx, esclient.Credentials{Login: "jane", Password: "secret"})
			_, err := m.Users(jane)
			assert.ErrorIs(t, err, esclient.ErrAccessDenied)
			assert.ErrorIs(t, m.CreateUser(jane, esadmin.User{Login: "joe"}, "secret"), esclient.ErrAccessDenied)
			assert.ErrorIs(t, m.DeleteUser(jane, "jane"), esclient.ErrAccessDenied)
			_, err = m.User(jane, "jane")
			if persona == estest.Persona2310 {
				assert.NoError(t, err, "users may ask for themselves")
			} else {
				assert.ErrorIs(t, err, esclient.ErrAccessDenied)
			}
			_, err = m.User(jane, "admin")
			assert.ErrorIs(t, err, esclient.ErrAccessDenied)
			assert.NoError(t, m.ChangePassword(ctx, "jane", "secret", "secrets"))
		})
	}
}

func TestUsersThatCouldNotLogInAreRefused(t *testing.T) {
	_, m := manage(t)
	ctx := testContext(t)
	long := strings.Repeat("x", 128)
	for what, err := range map[string]error{
		"no login":               m.CreateUser(ctx, esadmin.User{}, "secret"),
		"no password":            m.CreateUser(ctx, esadmin.User{Login: "jane"}, ""),
		"long login":             m.CreateUser(ctx, esadmin.User{Login: long}, "secret"),
		"long password":          m.CreateUser(ctx, esadmin.User{Login: "jane"}, long),
		"login not in ASCII":     m.CreateUser(ctx, esadmin.User{Login: "émile"}, "secret"),
		"long new password":      m.ResetPassword(ctx, "jane", long),
		"long changed password":  m.ChangePassword(ctx, "jane", "secret", long),
		"long current password":  m.ChangePassword(ctx, "jane", long, "secret"),
		"no login to update":     m.UpdateUser(ctx, esadmin.User{}),
		"no login to delete":     m.DeleteUser(ctx, ""),
		"no login to enable":     m.EnableUser(ctx, ""),
		"control characters":     m.DisableUser(ctx, "a\nb"),
		"credentials of context": m.EnableUser(esclient.WithCredentials(ctx, esclient.Credentials{Login: "x"}), "jane"),
	} {
		assert.ErrorIs(t, err, esclient.ErrInvalidArgument, what)
		assert.NotContains(t, err.Error(), long, what)
	}
}
