package esadmin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/internal/httpapi"
	"github.com/watermill-eventstore/watermill-eventstore/internal/notation"
)

// User is a user of the server.
type User struct {
	Login    string
	FullName string
	// Groups are names for access control lists. Members of $admins have all rights. Members of $ops may operate the
	// server and administer persistent subscriptions.
	Groups   []string
	Disabled bool
	// LastUpdated is when the server last stored the user. It is zero if the server does not tell, as from 4.1 to
	// 23.10.
	LastUpdated time.Time
}

// Users returns the users of the server, sorted by login. Only administrators may ask.
func (c *Client) Users(ctx context.Context) ([]User, error) {
	var answer struct {
		Data []userJSON `json:"data"`
	}
	if err := c.get(ctx, "/users/", &answer); err != nil {
		return nil, userError("list users", err)
	}
	var users []User
	for _, u := range answer.Data {
		users = append(users, u.user())
	}
	return users, nil
}

// User returns one user. Only administrators may ask; from 20.6 on users may also ask for themselves. The error is
// [ErrUserNotFound] if there is no such user.
func (c *Client) User(ctx context.Context, login string) (User, error) {
	path, err := userPath(login, "")
	if err != nil {
		return User{}, err
	}
	var answer struct {
		Data userJSON `json:"data"`
	}
	if err := c.get(ctx, path, &answer); err != nil {
		return User{}, userError("describe user", err)
	}
	return answer.Data.user(), nil
}

// CreateUser creates a user with the Login, FullName and Groups of u. Only administrators may do that. The error is
// [ErrUserExists] if there is a user with that login and another password. A user with the same password stays as it
// is, without an error.
func (c *Client) CreateUser(ctx context.Context, u User, password string) error {
	if err := validateUser(u.Login, password); err != nil {
		return err
	}
	return userError("create user", c.post(ctx, "/users/", struct {
		LoginName string   `json:"loginName"`
		FullName  string   `json:"fullName"`
		Groups    []string `json:"groups"`
		Password  string   `json:"password"`
	}{u.Login, u.FullName, orEmpty(u.Groups), password}))
}

// UpdateUser changes the FullName and the Groups of the user with that Login. Only administrators may do that.
func (c *Client) UpdateUser(ctx context.Context, u User) error {
	path, err := userPath(u.Login, "")
	if err != nil {
		return err
	}
	return userError("update user", c.do(ctx, http.MethodPut, path, struct {
		FullName string   `json:"fullName"`
		Groups   []string `json:"groups"`
	}{u.FullName, orEmpty(u.Groups)}, nil))
}

// ChangePassword changes a user's password. It acts for that user, who need not be an administrator. The error is
// [esclient.ErrAccessDenied] if the current password is wrong.
func (c *Client) ChangePassword(ctx context.Context, login, current, next string) error {
	if err := validateUser(login, current); err != nil {
		return err
	}
	if err := validateUser(login, next); err != nil {
		return err
	}
	path, err := userPath(login, "/command/change-password")
	if err != nil {
		return err
	}
	ctx = esclient.WithCredentials(ctx, esclient.Credentials{Login: login, Password: current})
	return userError("change password", c.post(ctx, path, struct {
		CurrentPassword string `json:"currentPassword"`
		NewPassword     string `json:"newPassword"`
	}{current, next}))
}

// ResetPassword sets a user's password. Only administrators may do that.
func (c *Client) ResetPassword(ctx context.Context, login, password string) error {
	if err := validateUser(login, password); err != nil {
		return err
	}
	path, err := userPath(login, "/command/reset-password")
	if err != nil {
		return err
	}
	return userError("reset password", c.post(ctx, path, struct {
		NewPassword string `json:"newPassword"`
	}{password}))
}

// EnableUser allows a user to authenticate again. Only administrators may do that.
func (c *Client) EnableUser(ctx context.Context, login string) error {
	return c.commandUser(ctx, "enable user", login, "/command/enable")
}

// DisableUser keeps a user from authenticating. Connections that are authenticated already stay usable. Only
// administrators may do that.
func (c *Client) DisableUser(ctx context.Context, login string) error {
	return c.commandUser(ctx, "disable user", login, "/command/disable")
}

func (c *Client) commandUser(ctx context.Context, operation, login, command string) error {
	path, err := userPath(login, command)
	if err != nil {
		return err
	}
	return userError(operation, c.post(ctx, path, struct{}{}))
}

// DeleteUser removes a user. Only administrators may do that.
func (c *Client) DeleteUser(ctx context.Context, login string) error {
	path, err := userPath(login, "")
	if err != nil {
		return err
	}
	return userError("delete user", c.do(ctx, http.MethodDelete, path, nil, nil))
}

func userPath(login, command string) (string, error) {
	if err := validateName("login", login); err != nil {
		return "", err
	}
	return "/users/" + httpapi.Escape(login) + command, nil
}

// validateUser refuses credentials with which the user could not authenticate.
func validateUser(login, password string) error {
	if err := validateName("login", login); err != nil {
		return err
	}
	return esclient.Credentials{Login: login, Password: password}.Validate()
}

// orEmpty returns an empty list for nil, which JSON would send as null.
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// userError adds the operation to an error. It returns nil for nil.
func userError(operation string, err error) error {
	var e *HTTPError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e) && e.Status == http.StatusNotFound && !strings.Contains(e.Body, "NotFound"):
		err = fmt.Errorf("%w: the server has no users, as with --insecure: %w", esclient.ErrNotSupported, err)
	case errors.Is(err, ErrNotFound):
		err = fmt.Errorf("%w: %w", ErrUserNotFound, err)
	case errors.As(err, &e) && e.Status == http.StatusConflict:
		err = fmt.Errorf("%w: %w", ErrUserExists, err)
	}
	return &esclient.OperationError{Operation: operation, Err: err}
}

// userJSON is a user in the server's JSON.
type userJSON struct {
	LoginName       string   `json:"loginName"`
	FullName        string   `json:"fullName"`
	Groups          []string `json:"groups"`
	DateLastUpdated string   `json:"dateLastUpdated"`
	Disabled        bool     `json:"disabled"`
}

func (u *userJSON) user() User {
	return User{
		Login: u.LoginName, FullName: u.FullName, Groups: u.Groups, Disabled: u.Disabled,
		LastUpdated: notation.ParseTime(u.DateLastUpdated),
	}
}
