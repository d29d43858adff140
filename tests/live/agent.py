"""An ICE agent of aioice: agent.py OWN PEER CONTROLLING TRANSPORT. OWN and PEER are files that descriptions go through.

TRANSPORT is how the relay is reached, or `none`: no relay is used then. aioice nominates the first pair that works, so with a
relay it is chance whether it goes through the hole."""
import asyncio
import json
import os
import socket
import sys

import aioice

own, peer, controlling, transport = sys.argv[1:]


def relay(server):
    if transport == "none":
        return {}
    return {
        "turn_server": server,
        "turn_username": "natbox",
        "turn_password": "natbox",
        "turn_transport": transport,
    }


async def main():
    server = (socket.gethostbyname("server"), 3478)
    agent = aioice.Connection(
        ice_controlling=controlling == "controlling",
        stun_server=server,
        **relay(server),
    )
    await agent.gather_candidates()
    candidates = [candidate.to_sdp() for candidate in agent.local_candidates]
    with open(own + ".part", "w") as file:
        json.dump([agent.local_username, agent.local_password, candidates], file)
    os.rename(own + ".part", own)
    while not os.path.exists(peer):
        await asyncio.sleep(0.05)
    with open(peer) as file:
        agent.remote_username, agent.remote_password, candidates = json.load(file)
    for candidate in candidates:
        await agent.add_remote_candidate(aioice.Candidate.from_sdp(candidate))
    await agent.add_remote_candidate(None)
    await agent.connect()
    await agent.send(b"hello")
    heard = await agent.recv()
    pair = agent._nominated[1]
    print(heard.decode(), pair.local_candidate.type, pair.remote_candidate.type, flush=True)
    # The peer may still need answers.
    await asyncio.sleep(1)
    await agent.close()


asyncio.run(asyncio.wait_for(main(), 60))
