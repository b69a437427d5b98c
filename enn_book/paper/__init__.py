"""The paper held to account: its claims, its equations, its seven figures."""
