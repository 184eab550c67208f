package aws

func stsActions() map[string]action {
	return map[string]action{
		"GetCallerIdentity":         getCallerIdentity,
		"AssumeRole":                xmlAction(serviceSTS, "AssumeRole", (*Cloud).assumeRole),
		"AssumeRoleWithWebIdentity": xmlAction(serviceSTS, "AssumeRoleWithWebIdentity", (*Cloud).assumeRoleWithWebIdentity),
	}
}

type callerIdentity struct {
	UserID  string `x:"UserId"`
	Account string
	Arn     string
}

// getCallerIdentity answers who asks; it is the only action here to which that matters.
func getCallerIdentity(c *Cloud, r request) ([]byte, error) {
	return xmlAction(serviceSTS, "GetCallerIdentity", func(c *Cloud, _ *struct{}) (*callerIdentity, error) {
		arn, id := c.callerIdentityOf(r.key)
		return &callerIdentity{UserID: id, Account: c.cfg.AccountID, Arn: arn}, nil
	})(c, r)
}
