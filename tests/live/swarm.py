"""A peer of a swarm, by libtorrent: `swarm.py ROLE FOLDER ADDRESS TRACKER`, the role being `introducer`, `seed` or `leech`.

A leech that is complete says from which addresses, and ends. All tell whom they are connected to, and what they say of
ut_holepunch. `hash` prints what the
swarm is about, for the tracker.
"""
import hashlib
import os
import sys
import time

import libtorrent as lt

PIECE, PIECES = 1 << 15, 16
DATA = bytes(i * 7 & 255 for i in range(PIECE)) * PIECES


def torrent(tracker):
    files = lt.file_storage()
    files.add_file("data", len(DATA))
    made = lt.create_torrent(files, piece_size=PIECE, flags=lt.create_torrent.v1_only)
    made.add_tracker(f"http://{tracker}:6969/announce")
    for index in range(PIECES):
        made.set_hash(index, hashlib.sha1(DATA[index * PIECE : (index + 1) * PIECE]).digest())
    return lt.torrent_info(made.generate())


def main(role, folder, own, tracker):
    what = torrent(tracker)
    if role == "hash":
        print(what.info_hash())
        return
    session = lt.session(
        {
            "listen_interfaces": f"{own}:6881",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            # uTP alone: holes are punched for it.
            "enable_incoming_tcp": False,
            "enable_outgoing_tcp": False,
            "close_redundant_connections": False,
            "min_reconnect_time": 1,
            "alert_mask": lt.alert.category_t.all_categories,
        }
    )
    if role == "seed":
        with open(os.path.join(folder, "data"), "wb") as file:
            file.write(DATA)
    here = session.add_torrent({"ti": what, "save_path": folder})
    if role == "introducer":
        # It fetches nothing, so that nobody has from it what the seed has.
        here.set_flags(lt.torrent_flags.upload_mode)
    known, announced = set(), False
    until = time.time() + 90
    while time.time() < until:
        for alert in session.pop_alerts():
            said = alert.message()
            if isinstance(alert, lt.tracker_reply_alert) and not announced:
                announced = True
                print(role, "has announced itself", flush=True)
            if "HOLEPUNCH" in said:
                print(role, said, flush=True)
        if role == "leech" and here.status().is_seeding:
            sources = {peer.ip[0] for peer in here.get_peer_info() if peer.total_download > PIECE}
            print("complete from", *sorted(sources), flush=True)
            return
        peers = {peer.ip[0] for peer in here.get_peer_info() if peer.flags & (peer.connecting | peer.handshake) == 0}
        for peer in sorted(peers - known):
            print(role, "is connected to", peer, flush=True)
        known |= peers
        if not announced:
            here.force_reannounce()
        time.sleep(0.5)
    print(role, "ended at", here.status().progress, flush=True)


main(*sys.argv[1:])
