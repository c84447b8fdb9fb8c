"""The frame of the app: page configuration, standing notice, navigation, the page, the footer."""

import streamlit as st

from skinai.ui import components, navigation

st.set_page_config(page_title="skinai", page_icon=navigation.ICON, layout="wide")
page = st.navigation(navigation.build_pages(), position="top")
components.show_notice()
page.run()
components.show_footer()
