"""What the services of people share: users and their targets, passwords, sessions, tokens and logs.

The account service (what a person may do to themselves) and the users service (what an API key may do to anybody)
are both made of these, so that a change leaves the same rows, events and identities whoever asked for it.
"""
